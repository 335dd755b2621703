/** What each signal was made of, for as long as somebody has it. */
const sources = new WeakMap<AbortSignal, readonly AbortSignal[]>();

/**
 * A signal that fires when the first of `signals` does. `AbortSignal.any` alone refers to them weakly: in Node 20 a deadline among
 * them that nobody else has is collected, and what waits for it waits for ever (nodejs/node issue 57736).
 */
export function anySignal(signals: readonly AbortSignal[]): AbortSignal {
  const any = AbortSignal.any([...signals]);
  sources.set(any, signals);
  return any;
}
