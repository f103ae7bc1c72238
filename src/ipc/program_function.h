/*
 * Functions of a program, named so that another process of the same program finds them: by the
 * object that holds the function and where in it that is, with proof that it is the same build.
 * Never by an address, which means nothing elsewhere.
 */
#ifndef IPC_PROGRAM_FUNCTION_H
#define IPC_PROGRAM_FUNCTION_H

#include "wire/record.h"

/* SIMPLER_EINVAL for what is no function of the program or of a library; SIMPLER_ENOMEM. */
simpler_status program_function_locate(const void *function, struct record_function *out);

/*
 * The function's address in this process.
 *
 * @return SIMPLER_ENOTFOUND when its object is not loaded here; SIMPLER_EVERSION when it is another
 *         build of it; SIMPLER_EPROTOCOL when it is outside of the object's code.
 */
simpler_status program_function_find(const struct record_function *function, const void **out);

#endif
