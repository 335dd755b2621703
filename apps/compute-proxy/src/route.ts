/**
 * Which endpoint a connection is for: the first label of the TLS server name, else `endpoint=<id>` in the startup
 * `options`, else the password form `endpoint=<id>;<password>`. Neon's order and forms, so its drivers and habits work.
 */
import { CoppiceError } from '@coppice/service-kit';

export interface Route {
  /** `undefined`: it must come with the password. */
  readonly endpoint: string | undefined;
  /** The startup `options` without what was meant for the proxy. */
  readonly options: string | undefined;
}

const ENDPOINT = /^[a-z0-9-]{1,60}$/;
const FORMS =
  'Name it in the host (ep-….<domain>, needs SNI), in options=endpoint=<id>, or as the password endpoint=<id>;<password>.';

function checked(endpoint: string): string {
  if (ENDPOINT.test(endpoint)) return endpoint;
  const shown = endpoint.length > 60 ? `${endpoint.slice(0, 60)}… (${endpoint.length} characters)` : endpoint;
  throw new CoppiceError(
    'Malformed',
    'bad-endpoint-name',
    `endpoint name "${shown}" is not 1 to 60 letters, digits and dashes`,
    { remedy: FORMS },
  );
}

export function routeOf(serverName: string | undefined, options: string | undefined): Route {
  const words = options === undefined ? [] : options.split(/\s+/).filter((w) => w !== '');
  const isOurs = (word: string): boolean => /^(endpoint|project)=/.test(word);
  const named = words.find(isOurs);
  const rest = words.filter((w) => !isOurs(w)).join(' ');
  const fromOptions = named === undefined ? undefined : checked(named.slice(named.indexOf('=') + 1));
  const label = serverName?.includes('.') ? serverName.slice(0, serverName.indexOf('.')) : undefined;
  const fromName = label !== undefined && label.startsWith('ep-') ? checked(label) : undefined;
  if (fromName !== undefined && fromOptions !== undefined && fromName !== fromOptions) {
    throw new CoppiceError(
      'Malformed',
      'inconsistent-endpoint',
      `Inconsistent project name inferred from SNI ('${fromName}') and project option ('${fromOptions}').`,
      {
        remedy: 'Name one endpoint only.',
      },
    );
  }
  return { endpoint: fromName ?? fromOptions, options: rest === '' ? undefined : rest };
}

/** Takes `endpoint=<id>;<password>` (or `$` for `;`) apart. */
export function splitPassword(password: string): { readonly endpoint: string; readonly password: string } {
  const match = /^(?:endpoint|project)=([^;$]*)[;$](.*)$/s.exec(password);
  if (!match)
    throw new CoppiceError('Malformed', 'endpoint-not-named', 'the connection does not name an endpoint', {
      remedy: FORMS,
    });
  return { endpoint: checked(match[1]!), password: match[2]! };
}
