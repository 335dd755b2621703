/** The stored bytes of a layer or manifest are not what any version of this code wrote. */
export class CorruptLayer extends Error {
  readonly code = 'corrupt-layer';
  constructor(what: string) {
    super(`corrupt layer: ${what}; restore the object from a copy, or drop the layer and ingest its WAL again`);
    this.name = 'CorruptLayer';
  }
}
