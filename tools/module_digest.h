/* A module's file as the commands about signatures see it. */
#ifndef TOOLS_MODULE_DIGEST_H
#define TOOLS_MODULE_DIGEST_H

#include "catalog/digest.h"

/* The digest of the file at `path`, which has to be a module. */
simpler_status module_digest(const char *path, struct digest *out);

#endif
