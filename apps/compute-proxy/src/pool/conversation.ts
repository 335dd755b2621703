import type { ServerStatements } from './pooled-server';
import type { ReportedSettings } from './reported-settings';
import { InFlight } from './in-flight';
import { ClientStatements, type StatementRegistry, type UnnamedStatement } from './prepared-statements';

const QUERY = 'Q'.charCodeAt(0);

/** What is known of the server that a client holds. */
export interface ServerState {
  readonly statements: ServerStatements;
  unnamed: object | undefined;
  reported: ReportedSettings;
  isDirty: boolean;
  forgetsStatements: boolean;
}

/** A client broke the protocol; its connection ends with this. */
export class ProtocolViolation extends Error {
  readonly sqlstate: string;
  constructor(message: string, sqlstate = '08P01') {
    super(message);
    this.sqlstate = sqlstate;
  }
}

/** Between one client and the servers that it gets: shared by the two directions. */
export class Conversation {
  readonly inFlight = new InFlight();
  readonly statements: ClientStatements;
  unnamed: UnnamedStatement | undefined;
  /** Where among Parse and Close messages the unnamed statement was sent. */
  unnamedOrdinal = 0;
  server: ServerState | undefined;
  /** Of the client's message that was sent in part: bytes that are still to come. */
  restBytes = 0;
  /** Its type. */
  restType = 0;
  /** What the client was told of its settings. */
  told: ReportedSettings;
  /** What it made of them itself. */
  wanted: Map<string, string> | undefined;
  /** To be written, in order. */
  readonly toServer: Buffer[] = [];
  readonly toClient: Buffer[] = [];

  /** All that the server owes is the answer to a simple query that it cannot have read whole. */
  get owesOneQueryInPart(): boolean {
    return this.restBytes > 0 && this.restType === QUERY && this.inFlight.owes === 1;
  }

  constructor(registry: StatementRegistry, greeting: ReportedSettings) {
    this.statements = new ClientStatements(registry);
    this.told = greeting;
  }
}
