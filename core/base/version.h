/* version.h: the version of this program, by semantic versioning. */
#ifndef TG_BASE_VERSION_H
#define TG_BASE_VERSION_H

#define TG_VERSION "0.1.0"

#endif
