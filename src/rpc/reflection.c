/*
 * Each request of the stream is answered from the embedded descriptors, read anew: that takes
 * microseconds, and nobody asks often. FileDescriptorSet looks on the wire like
 * FileDescriptorResponse: both hold files as field 1. None of our files imports another one.
 */
#include "rpc/reflection.h"

#include <string.h>

#include "rpc/codec.h"
#include "rpc/descriptors.h"

#include "descriptor_names.pb-c.h"
#include "reflection.pb-c.h"

#define PB(name)        Grpc__Reflection__V1alpha__##name
#define PB_TYPE(name)   (&grpc__reflection__v1alpha__##name##__descriptor)
#define PB_CASE_IN(c)   GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##c
#define PB_CASE_OUT(c)  GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##c
#define REQUEST_MAX     ((size_t)4096)
#define DESCRIPTORS_MAX ((size_t)256 << 10) /* what they take when unpacked, with much room */

typedef PB(FileDescriptorResponse) pb_files;
typedef PB(ServerReflectionRequest) pb_request;
typedef PB(ServerReflectionResponse) pb_response;

/* One request being answered. */
struct answer {
	struct bump bump;
	pb_files *files;
	Names__File **names; /* of each file */
	pb_response response;
	pb_files file;
	PB(ListServiceResponse) services;
	PB(ErrorResponse) error;
};

/* Unpack what we embedded ourselves; fails only without memory. */
static bool load(struct answer *answer)
{
	size_t count;

	answer->files = codec_unpack(PB_TYPE(file_descriptor_response), descriptors,
	                             descriptors_size, &answer->bump);
	count = answer->files ? answer->files->n_file_descriptor_proto : 0;
	answer->names = bump_alloc(&answer->bump, count * sizeof(*answer->names));
	for (size_t i = 0; answer->names && i < count; i++) {
		ProtobufCBinaryData bytes = answer->files->file_descriptor_proto[i];

		answer->names[i] = codec_unpack(&names__file__descriptor, bytes.data, bytes.len,
		                                &answer->bump);
		if (!answer->names[i])
			return false;
	}
	return count > 0 && answer->names;
}

/* --- looking up symbols --- */

/* What is left of `symbol` behind `name` and the dot after it; "" when it ends there, NULL when
 * it does not begin so. */
static const char *behind(const char *symbol, const char *name)
{
	size_t size = strlen(name);

	if (strncmp(symbol, name, size) != 0)
		return NULL;
	symbol += size;
	return *symbol == '.' ? symbol + 1 : *symbol == '\0' ? symbol : NULL;
}

static bool enum_named(Names__Enum *const *enums, size_t count, const char *symbol)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(enums[i]->name, symbol) == 0)
			return true;
	}
	return false;
}

/* Follows `symbol` from message to nested message. */
static bool message_named(Names__Message *const *messages, size_t count, const char *symbol)
{
	for (size_t i = 0; i < count;) {
		const Names__Message *message = messages[i++];
		const char *rest = behind(symbol, message->name);

		if (!rest)
			continue;
		if (*rest == '\0' || enum_named(message->enum_type, message->n_enum_type, rest))
			return true;
		messages = message->nested_type;
		count = message->n_nested_type;
		symbol = rest;
		i = 0;
	}
	return false;
}

static bool service_named(const Names__Service *service, const char *symbol)
{
	const char *rest = behind(symbol, service->name);

	if (!rest || *rest == '\0')
		return rest != NULL;
	for (size_t i = 0; i < service->n_method; i++) {
		if (strcmp(service->method[i]->name, rest) == 0)
			return true;
	}
	return false;
}

static bool file_declares(const Names__File *file, const char *symbol)
{
	const char *rest = behind(symbol, file->package);

	if (!rest)
		return false;
	for (size_t i = 0; i < file->n_service; i++) {
		if (service_named(file->service[i], rest))
			return true;
	}
	return message_named(file->message_type, file->n_message_type, rest) ||
	       enum_named(file->enum_type, file->n_enum_type, rest);
}

static bool file_named(const Names__File *file, const char *name)
{
	return strcmp(file->name, name) == 0;
}

/* --- the answers --- */

static void fail(struct answer *answer, enum rpc_code code, const char *text)
{
	grpc__reflection__v1alpha__error_response__init(&answer->error);
	answer->error.error_code = (int32_t)code;
	answer->error.error_message = (char *)text;
	answer->response.message_response_case = PB_CASE_OUT(ERROR_RESPONSE);
	answer->response.error_response = &answer->error;
}

static void answer_file(struct answer *answer, bool (*wanted)(const Names__File *, const char *),
                        const char *name)
{
	for (size_t i = 0; i < answer->files->n_file_descriptor_proto; i++) {
		if (!wanted(answer->names[i], name))
			continue;
		grpc__reflection__v1alpha__file_descriptor_response__init(&answer->file);
		answer->file.n_file_descriptor_proto = 1;
		answer->file.file_descriptor_proto = &answer->files->file_descriptor_proto[i];
		answer->response.message_response_case = PB_CASE_OUT(FILE_DESCRIPTOR_RESPONSE);
		answer->response.file_descriptor_response = &answer->file;
		return;
	}
	fail(answer, RPC_NOT_FOUND, "this server serves nothing of that name");
}

/* "package.Service"; NULL without memory. */
static PB(ServiceResponse) *
	service_entry(struct answer *answer, const Names__File *file, const Names__Service *service)
{
	PB(ServiceResponse) *entry = bump_alloc(&answer->bump, sizeof(*entry));
	size_t package = strlen(file->package), name = strlen(service->name) + 1;
	char *full = bump_alloc(&answer->bump, package + 1 + name);

	if (!entry || !full)
		return NULL;
	memcpy(full, file->package, package);
	full[package] = '.';
	memcpy(full + package + 1, service->name, name);
	grpc__reflection__v1alpha__service_response__init(entry);
	entry->name = full;
	return entry;
}

static void answer_services(struct answer *answer)
{
	size_t files = answer->files->n_file_descriptor_proto, count = 0;
	PB(ListServiceResponse) *services = &answer->services;

	for (size_t i = 0; i < files; i++)
		count += answer->names[i]->n_service;
	grpc__reflection__v1alpha__list_service_response__init(services);
	services->service = bump_alloc(&answer->bump, count * sizeof(*services->service));
	for (size_t i = 0; i < files && services->service; i++) {
		const Names__File *file = answer->names[i];

		for (size_t k = 0; k < file->n_service; k++) {
			services->service[services->n_service] =
				service_entry(answer, file, file->service[k]);
			services->n_service += services->service[services->n_service] != NULL;
		}
	}
	answer->response.message_response_case = PB_CASE_OUT(LIST_SERVICES_RESPONSE);
	answer->response.list_services_response = services;
}

static void fill_in(struct answer *answer, pb_request *request)
{
	grpc__reflection__v1alpha__server_reflection_response__init(&answer->response);
	answer->response.valid_host = request->host;
	answer->response.original_request = request;
	if (!load(answer))
		fail(answer, RPC_RESOURCE_EXHAUSTED, "out of memory");
	else if (request->message_request_case == PB_CASE_IN(LIST_SERVICES))
		answer_services(answer);
	else if (request->message_request_case == PB_CASE_IN(FILE_BY_FILENAME))
		answer_file(answer, file_named, request->file_by_filename);
	else if (request->message_request_case == PB_CASE_IN(FILE_CONTAINING_SYMBOL))
		answer_file(answer, file_declares, request->file_containing_symbol);
	else
		fail(answer, RPC_UNIMPLEMENTED, "this server declares no extensions");
}

enum rpc_code rpc_reflection_answer(const uint8_t *data, size_t size, struct rpc_buffer *out)
{
	enum rpc_code code = RPC_INVALID_ARGUMENT;
	struct answer answer;
	pb_request *request = NULL;

	bump_init(&answer.bump, 3 * REQUEST_MAX + DESCRIPTORS_MAX);
	if (size <= REQUEST_MAX)
		request =
			codec_unpack(PB_TYPE(server_reflection_request), data, size, &answer.bump);
	if (request) {
		fill_in(&answer, request);
		code = codec_pack(&answer.response.base, out) == SIMPLER_OK
		               ? RPC_OK
		               : RPC_RESOURCE_EXHAUSTED;
	}
	bump_release(&answer.bump);
	return code;
}

/* --- the stream: one request, one answer, the next request --- */

static void on_open(struct rpc_call *call)
{
	rpc_receive(call);
}

static void on_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
	struct rpc_buffer message;
	enum rpc_code code = rpc_reflection_answer(data, size, &message);

	if (code == RPC_OK)
		rpc_send(call, &message);
	else
		rpc_finish(call, code,
		           code == RPC_INVALID_ARGUMENT ? "this is no ServerReflectionRequest"
		                                        : "out of memory",
		           NULL);
}

static void on_half_close(struct rpc_call *call)
{
	rpc_finish(call, RPC_OK, NULL, NULL);
}

static void on_cancel(struct rpc_call *call)
{
	rpc_finish(call, RPC_CANCELLED, NULL, NULL);
}

static const struct rpc_method methods[] = {
	{
		.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
		.streaming = true,
		.on_open = on_open,
		.on_message = on_message,
		.on_half_close = on_half_close,
		.on_sent = rpc_receive,
		.on_cancel = on_cancel,
	},
};

struct rpc_service rpc_reflection_service(void)
{
	return (struct rpc_service){ methods, 1, NULL };
}
