/** Statements about roles and databases. Names are whatever clients call them, so each is quoted here and nowhere else. */

/** A name as an identifier, whatever is in it. */
export function quotedName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A text constant that means the same whatever `standard_conforming_strings` is. */
export function quotedText(text: string): string {
  const escaped = text.replaceAll("'", "''");
  return escaped.includes('\\') ? ` E'${escaped.replaceAll('\\', '\\\\')}'` : `'${escaped}'`;
}

/** No role has a password in Postgres: the proxy authenticates. */
export function createRole(name: string, { login }: { readonly login: boolean }): string {
  return `create role ${quotedName(name)} ${login ? 'login' : 'nologin'} inherit nosuperuser nocreatedb nocreaterole noreplication nobypassrls`;
}

/** For a role that was made before, by a request whose answer was lost or by SQL. */
export function adoptRole(name: string, { login }: { readonly login: boolean }): string {
  return `alter role ${quotedName(name)} ${login ? 'login' : 'nologin'}`;
}

export function dropRole(name: string): string {
  return `drop role if exists ${quotedName(name)}`;
}

/** What keeps a role from being dropped, one line each, at most 20. */
export function whatRoleOwns(name: string): string {
  const depends = `pg_shdepend s join pg_roles r on s.refclassid = 'pg_authid'::regclass and r.oid = s.refobjid and r.rolname = ${quotedText(name)}`;
  return `(select pg_describe_object(s.classid, s.objid, s.objsubid) from ${depends} where s.dbid = 0 limit 10)
    union all (select count(*) || ' object' || case count(*) when 1 then '' else 's' end || ' in database ' || d.datname
      from ${depends} join pg_database d on d.oid = s.dbid group by d.datname limit 10)`;
}

/** From `template0`: nobody can be connected to it, and it holds nothing of users. */
export function createDatabase(name: string, owner: string): string {
  return `create database ${quotedName(name)} owner ${quotedName(owner)} template template0`;
}

export function changeOwner(name: string, owner: string): string {
  return `alter database ${quotedName(name)} owner to ${quotedName(owner)}`;
}

/** New sessions wait for the renaming; those that there are have to go before it. */
export function renameDatabase(name: string, to: string): string[] {
  return [
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = ${quotedText(name)}`,
    `alter database ${quotedName(name)} rename to ${quotedName(to)}`,
  ];
}

export function dropDatabase(name: string): string {
  return `drop database if exists ${quotedName(name)} with (force)`;
}

/** Most roles, and most databases, that a branch is asked for. */
export const MAX_LISTED = 2_000;

/** Name and whether it may log in. */
export const LIST_ROLES = `select rolname, rolcanlogin from pg_roles
  where not rolsuper and rolname <> 'coppice_reader' and rolname !~ '^pg_' order by oid limit ${MAX_LISTED + 1}`;

/** Name and owner. */
export const LIST_DATABASES = `select datname, pg_get_userbyid(datdba) from pg_database
  where not datistemplate and datname <> 'postgres' order by oid limit ${MAX_LISTED + 1}`;
