/** Who runs test servers: PostgreSQL refuses root, so root hands over to `nobody`. */
export const serverUser: { readonly uid: number; readonly gid: number } | undefined =
  process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined;
