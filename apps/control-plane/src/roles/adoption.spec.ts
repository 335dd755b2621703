import type { DatabaseRow, RoleRow } from '@coppice/catalog';
import { isEmpty, planAdoption } from './adoption';
import { MAX_LISTED, quotedName, quotedText } from './object-sql';

const role = (name: string, updated_at = 0) => ({ name, updated_at }) as RoleRow;
const database = (name: string, owner_name: string, updated_at = 0) =>
  ({ name, owner_name, updated_at }) as DatabaseRow;
const ASKED_AT = 1_000;
const plan = (
  known: { roles?: RoleRow[]; databases?: DatabaseRow[] },
  found: { roles?: [string, boolean][]; databases?: [string, string][] },
) =>
  planAdoption(
    { roles: known.roles ?? [], databases: known.databases ?? [] },
    {
      roles: (found.roles ?? []).map(([name, canLogin]) => ({ name, canLogin })),
      databases: (found.databases ?? []).map(([name, ownerName]) => ({ name, ownerName })),
      askedAt: ASKED_AT,
    },
  );

describe('taking over what SQL did', () => {
  it('is nothing when the metadata knows it all', () => {
    const same = plan(
      { roles: [role('a')], databases: [database('d', 'a')] },
      { roles: [['a', true]], databases: [['d', 'a']] },
    );
    expect(isEmpty(same)).toBe(true);
  });
  it('brings roles that can log in or own a database, and no others', () => {
    const { newRoles } = plan(
      {},
      {
        roles: [
          ['login', true],
          ['group', false],
          ['owner', false],
        ],
        databases: [['d', 'owner']],
      },
    );
    expect(newRoles).toEqual(['login', 'owner']);
  });
  it('keeps a role that may not log in while Postgres has it', () => {
    expect(plan({ roles: [role('group')] }, { roles: [['group', false]] }).goneRoles).toEqual([]);
  });
  it('passes over names that no request could name', () => {
    expect(
      isEmpty(
        plan(
          { roles: [role('a')] },
          {
            roles: [
              ['a', true],
              ['a\nb', true],
            ],
            databases: [['c\td', 'a']],
          },
        ),
      ),
    ).toBe(true);
  });
  it('leaves alone what the metadata learned after Postgres was asked', () => {
    const later = plan(
      {
        roles: [role('a', ASKED_AT)],
        databases: [database('d', 'a', ASKED_AT), database('e', 'b', ASKED_AT)],
      },
      { databases: [['e', 'a']] },
    );
    expect(isEmpty(later)).toBe(true);
  });
  it('drops nothing when Postgres has more than were listed', () => {
    const many = Array.from({ length: MAX_LISTED + 1 }, (_, i): [string, boolean] => [`r${i}`, false]);
    expect(plan({ roles: [role('a')] }, { roles: many }).goneRoles).toEqual([]);
  });
});

describe('quoting', () => {
  it('doubles what would end a name or a text, and keeps backslashes what they are', () => {
    expect(quotedName('a"b\\c')).toBe('"a""b\\c"');
    expect(quotedText("it's")).toBe("'it''s'");
    expect(quotedText("\\'x")).toBe(" E'\\\\''x'");
  });
});
