// A cover that appears by itself unless it is put off: what hides the picture when nobody can.
//
// It is an animation of opacity alone, which the browser's compositor runs in a thread of its own:
// it comes also when this page's scripts hang. Whoever proves to be alive puts it off.

export class Deadman {
  constructor(element) {
    this.animation = element.animate([{ opacity: 0 }, { opacity: 1 }], {
      duration: 1000,
      easing: "steps(1, end)",
      fill: "both",
    });
  }

  /** Not before afterMs from now. */
  defer(afterMs) {
    if (this.animation.effect.getTiming().duration !== afterMs) {
      this.animation.effect.updateTiming({ duration: afterMs });
    }
    this.animation.currentTime = 0;
    if (this.animation.playState !== "running") this.animation.play();
  }
}
