/*
 * lookup.h: files that nobody has asked for yet.
 *
 * A compute starts without the files of relations. Whoever is about to use one by its name looks it up here first: if the
 * state does not list it, the agent is asked, which makes the files that the relation has in storage, sparse, and lists
 * them. So a start costs the same however many relations there are. What storage has not is local: the agent lists the main
 * fork as `gone`, or, where a program makes many, says from which relation on nobody need ask.
 */
#ifndef COPPICE_LOOKUP_H
#define COPPICE_LOOKUP_H

/* Makes sure that the state lists the relation's file of this name if storage has it. -1 with errno EIO. */
int lookup_file(const char *name);

/* The same for a path as the server writes it. */
int lookup_path(const char *path);

/* Makes sure that all files of the database are there, if `path` is its directory. -1 with errno EIO. */
int lookup_directory(const char *path);

#endif
