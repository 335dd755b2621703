import { newAcceptor } from '@coppice/consensus';
import { lsn, term, type NodeId, type TimelineId } from '@coppice/vocabulary';
import { decodeControlFile, encodeControlFile, type ControlFile } from './control-file';

const identity = {
  timeline: 'c0ffee00'.repeat(4) as TimelineId,
  startLsn: lsn(0x16b374d848n),
  systemId: (1n << 64n) - 1n,
  pgVersion: 17,
};
const control: ControlFile = {
  state: {
    ...newAcceptor('sk1' as NodeId, identity, {
      generation: 3,
      members: ['sk1', 'sk2'] as NodeId[],
      newMembers: ['sk4'] as NodeId[],
    }),
    term: term(2 ** 40),
    votedFor: 'f'.repeat(32),
    history: [
      { term: term(0), lsn: identity.startLsn },
      { term: term(7), lsn: lsn(identity.startLsn + 8n) },
    ],
    commitLsn: lsn(identity.startLsn + 800n),
    leaderCommit: lsn(identity.startLsn + 800n),
  },
  durableEnd: lsn(identity.startLsn + 808n),
  sealed: true,
  pageserver: { generation: 5, ingestedLsn: lsn(3), durableLsn: lsn(2) },
};

describe('the control file', () => {
  it('gives back what was written', () => {
    expect(decodeControlFile(encodeControlFile(control), 'x')).toEqual(control);
  });

  it('notices every changed and every missing byte', () => {
    const bytes = encodeControlFile(control);
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes);
      changed[i]! ^= 1;
      expect(() => decodeControlFile(changed, 'x')).toThrow(expect.objectContaining({ kind: 'Corrupt' }));
      expect(() => decodeControlFile(bytes.subarray(0, i), 'x')).toThrow(
        expect.objectContaining({ kind: 'Corrupt' }),
      );
    }
  });
});
