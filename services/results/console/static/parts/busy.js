// What is under way, and not to be begun twice.

import { sayProblem } from "./toast.js";

/** An `onclick` that hears nothing more until what `act()` has begun is over; a Problem is said. */
export const busyWhile = (act) => async ({ currentTarget: button }) => {
  if (button.ariaBusy) return;
  button.ariaBusy = "true"; // not disabled: it would lose the focus
  try {
    await act();
  } catch (problem) {
    sayProblem(problem);
  }
  button.ariaBusy = null;
};
