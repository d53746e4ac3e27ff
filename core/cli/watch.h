/* watch.h: notices when a file changes that the configuration was made of: all of them under
 * `tidegate run --dev`, else those of certificates and keys.
 *
 * The folders of all files that an evaluation read, or looked for, are watched (inotify). Something
 * that happens in them starts a pause, which everything else that happens prolongs, since editors
 * and git write in several steps; when it is over, the files are compared with what was read. So a
 * change that leaves them as they were, and a file that nobody read, is no change.
 *
 * Where nothing happens, files of certificates are compared every minute all the same: some file
 * systems tell nobody.
 *
 * Bounds: a pause of 100 ms after the last thing that happened, 1 s at most; TG_WATCH_FOLDERS_MAX
 * folders, the others are not watched. Threads: one.
 */
#ifndef TG_CLI_WATCH_H
#define TG_CLI_WATCH_H

#include "config/sources.h"

#define TG_WATCH_FOLDERS_MAX 256

struct tg_watch_files;

/* Watches nothing yet; that `part` of sources later. TG_E_NOMEM, TG_E_SYSTEM with errno. */
enum tg_err tg_watch_files_new(enum tg_sources_part part, struct tg_watch_files **out) TG_MUST_USE;
void tg_watch_files_free(struct tg_watch_files **files);

/* From here on it is `sources` whose change counts; a reference is taken. With `restored` they are
 * those of an earlier time: what the files are now is no change, only what becomes of them. */
void tg_watch_files_set(struct tg_watch_files *files, struct tg_sources *sources, bool restored);

/* For poll(): readable when something happened; -1 where `files` is NULL. */
int tg_watch_files_fd(const struct tg_watch_files *files);

/* When tg_watch_files_changed() wants to be called (us, monotonic); UINT64_MAX: not before the
 * descriptor is readable. */
uint64_t tg_watch_files_due(const struct tg_watch_files *files);

/* Reads what happened; true once the pause is over and the sources are not what the files are now:
 * once for each state of the files. False where `files` is NULL. */
bool tg_watch_files_changed(struct tg_watch_files *files, uint64_t now) TG_MUST_USE;

#endif
