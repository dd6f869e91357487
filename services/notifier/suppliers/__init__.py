"""Who sends files, and what came of them: suppliers, their files, their days."""
