import { difference } from './difference';
import { Sightings } from './sightings';

const unknown = difference('timeline-unknown', 'sk1', 'a', '');
const elsewhere = difference('timeline-unknown', 'sk2', 'a', '');
const counter = difference('counter-off', 'counters', 'agent', '');

describe('a difference', () => {
  it('is believed when every look of long enough had it', () => {
    const sightings = new Sightings(10_000);
    expect(sightings.see([unknown], 0)).toEqual({ confirmed: [], pending: [unknown] });
    expect(sightings.see([unknown, elsewhere], 9_999)).toEqual({
      confirmed: [],
      pending: [unknown, elsewhere],
    });
    expect(sightings.see([unknown, elsewhere], 10_000)).toEqual({
      confirmed: [unknown],
      pending: [elsewhere],
    });
  });

  it('that was gone once begins anew', () => {
    const sightings = new Sightings(10_000);
    sightings.see([unknown], 0);
    sightings.see([], 5_000);
    expect(sightings.see([unknown], 12_000).confirmed).toEqual([]);
    expect(sightings.see([unknown], 22_000).confirmed).toEqual([unknown]);
  });

  it('of a kind that mends itself slowly is waited for, however short the patience', () => {
    const sightings = new Sightings(0);
    expect(sightings.see([unknown, counter], 0)).toEqual({ confirmed: [unknown], pending: [counter] });
    expect(sightings.see([counter], 75_000).confirmed).toEqual([counter]);
  });

  it('is one, however often a look tells it', () => {
    expect(new Sightings(0).see([unknown, { ...unknown, detail: 'again' }], 0).confirmed).toEqual([unknown]);
  });
});
