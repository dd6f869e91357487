// A theme chosen in parts/theme.js, before anything is shown: modules come later, and the system's would flash up.
try {
  document.documentElement.dataset.theme = JSON.parse(localStorage.getItem("penstock-theme")) ?? "system";
} catch {
  // Storage is forbidden: as the system has it.
}
