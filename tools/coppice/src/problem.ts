/** Something that the user can mend: shown as one line, exit code 1, no stack. */
export class Problem extends Error {}
