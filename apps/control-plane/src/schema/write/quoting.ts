/** A name as SQL takes it, quoted where it must be. `keywords` are those that cannot be names as they stand. */
export function quoteName(name: string, keywords: ReadonlySet<string>): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !keywords.has(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** A text constant (`standard_conforming_strings` is on). */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** A text constant between dollar signs, with a tag that does not occur in it. */
export function quoteBody(text: string): string {
  const suffixes = '_XXXXXXX';
  let tag = '$';
  for (let i = 0; text.includes(tag); i++) tag += suffixes[i % suffixes.length];
  return `${tag}$${text}${tag}$`;
}

/** `name='value'` parameters as WITH (…) takes them. */
export function storageParameters(options: readonly string[], keywords: ReadonlySet<string>): string[] {
  return options.map((option) => {
    const [, prefix = '', name = '', value = ''] = /^(toast\.)?([^=]*)=(.*)$/s.exec(option) ?? [];
    const quoted = quoteName(value, keywords) === value ? value : quoteText(value);
    return `${prefix}${quoteName(name, keywords)}=${quoted}`;
  });
}
