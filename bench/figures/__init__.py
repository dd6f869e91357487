"""The figures: one module a family. A new one is a new module, with functions marked `@measures(…)`."""
