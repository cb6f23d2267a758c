/** What the checks find: a place, and what is wrong there. */

export interface Problem {
  place: string;
  what: string;
}

/** Collects problems of one place. */
export class Findings {
  readonly problems: Problem[] = [];

  /** Notes a problem. */
  add(place: string, what: string): void {
    this.problems.push({ place, what });
  }

  /** Notes a problem unless the condition holds. */
  expect(condition: boolean, place: string, what: string): void {
    if (!condition) {
      this.add(place, what);
    }
  }
}
