declare const brand: unique symbol;

/** A nominal type: a `T` that only the owner of `Name` can make, by parsing or by asserting. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
