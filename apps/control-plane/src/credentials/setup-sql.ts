/**
 * A project may ask for another role or database than the template's. The template's are renamed at the first start of a
 * branch; each statement is a no-op once it has run.
 */
import { createRole } from '../roles/object-sql';

export const DEFAULT_DATABASE = 'neondb';
export const DEFAULT_ROLE = 'neondb_owner';

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A statement that runs `command` (a `format` pattern with the two names) while `from` exists in `catalog`. */
function renameOnce(catalog: string, column: string, command: string, from: string, to: string): string {
  return block(
    `if exists (select from ${catalog} where ${column} = ${literal(from)}) then execute format(${literal(command)}, ${literal(from)}, ${literal(to)}); end if;`,
  );
}

function block(body: string): string {
  // A dollar tag that no name can hold: names are at most 63 bytes.
  const tag = `$coppice_${'x'.repeat(60)}$`;
  return `do ${tag} begin ${body} end ${tag}`;
}

/** A statement that creates a role that may log in and nothing else, unless there is one of that name. */
export function createRoleOnce(role: string): string {
  const create = literal(createRole(role, { login: true }));
  return block(
    `if not exists (select from pg_roles where rolname = ${literal(role)}) then execute ${create}; end if;`,
  );
}

/** Statements that turn the template's role and database into the ones asked for; none when they are the same. */
export function setupStatements(role: string, database: string): string[] {
  const statements: string[] = [];
  if (role !== DEFAULT_ROLE)
    statements.push(renameOnce('pg_roles', 'rolname', 'alter role %I rename to %I', DEFAULT_ROLE, role));
  if (database !== DEFAULT_DATABASE)
    statements.push(
      renameOnce('pg_database', 'datname', 'alter database %I rename to %I', DEFAULT_DATABASE, database),
    );
  return statements;
}
