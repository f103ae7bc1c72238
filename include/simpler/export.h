/* Symbol visibility and the attributes that the public headers use. */
#ifndef SIMPLER_EXPORT_H
#define SIMPLER_EXPORT_H

#if defined(__GNUC__)
#define SIMPLER_API __attribute__((visibility("default")))
#define SIMPLER_PRINTF(format_index, first_argument)                                               \
	__attribute__((format(printf, format_index, first_argument)))
#else
#define SIMPLER_API
#define SIMPLER_PRINTF(format_index, first_argument)
#endif

#endif
