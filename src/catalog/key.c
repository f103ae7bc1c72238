#include "catalog/key.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "catalog/small_file.h"

/* OpenSSL queues up its errors in the thread, and others who use it there would find ours. */
static simpler_status raise_openssl(simpler_status status, const char *what)
{
	ERR_clear_error();
	return error_raise(status, "%s", what);
}

simpler_status key_id(const struct public_key *key, struct digest *out)
{
	return digest_compute(key->bytes, sizeof(key->bytes), out);
}

static bool get_public(const EVP_PKEY *pkey, struct public_key *out)
{
	size_t size = sizeof(out->bytes);

	return EVP_PKEY_get_base_id(pkey) == EVP_PKEY_ED25519 &&
	       EVP_PKEY_get_raw_public_key(pkey, out->bytes, &size) == 1 &&
	       size == sizeof(out->bytes);
}

static bool get_private(const EVP_PKEY *pkey, struct private_key *out)
{
	size_t size = sizeof(out->bytes);

	return get_public(pkey, &out->pair) &&
	       EVP_PKEY_get_raw_private_key(pkey, out->bytes, &size) == 1 &&
	       size == sizeof(out->bytes);
}

simpler_status key_generate(struct private_key *out)
{
	EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	bool done = pkey && get_private(pkey, out);

	EVP_PKEY_free(pkey);
	return done ? SIMPLER_OK
	            : raise_openssl(SIMPLER_ESYSTEM, "OpenSSL makes no Ed25519 key here; is its "
	                                             "default provider there?");
}

void key_forget(struct private_key *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
}

/* --- signing and verifying --- */

static EVP_PKEY *private_pkey(const struct private_key *key)
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->bytes, sizeof(key->bytes));
}

static EVP_PKEY *public_pkey(const struct public_key *key)
{
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, sizeof(key->bytes));
}

simpler_status key_sign(const struct private_key *key, const struct digest *module,
                        struct signature *out)
{
	uint8_t message[SIGNATURE_MESSAGE_BYTES];
	size_t size = sizeof(out->ed25519);
	EVP_PKEY *pkey = private_pkey(key);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool done;

	signature_message(module, message);
	done = pkey && context && EVP_DigestSignInit(context, NULL, NULL, NULL, pkey) == 1 &&
	       EVP_DigestSign(context, out->ed25519, &size, message, sizeof(message)) == 1 &&
	       size == sizeof(out->ed25519);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	if (!done)
		return raise_openssl(SIMPLER_ESYSTEM, "OpenSSL does not sign with this key");
	return key_id(&key->pair, &out->key);
}

bool key_verify(const struct public_key *key, const struct digest *module,
                const struct signature *signature)
{
	uint8_t message[SIGNATURE_MESSAGE_BYTES];
	EVP_PKEY *pkey = public_pkey(key);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good;

	signature_message(module, message);
	good = pkey && context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
	       EVP_DigestVerify(context, signature->ed25519, sizeof(signature->ed25519), message,
	                        sizeof(message)) == 1;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return good;
}

/* --- PEM --- */

/* An encrypted key would have OpenSSL ask the terminal for a pass phrase. */
/* NOLINTNEXTLINE(readability-non-const-parameter): OpenSSL gives it its type. */
static int no_pass_phrase(char *buffer, int size, int writing, void *context)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)context;
	return -1;
}

/* Of two keys in one file OpenSSL would read the first, and nobody would miss the second. */
static bool has_one_block(const char *pem)
{
	static const char begin[] = "-----BEGIN ";
	const char *first = strstr(pem, begin);

	return first && !strstr(first + 1, begin);
}

bool key_parse_public(const char *pem, struct public_key *out)
{
	BIO *bio = has_one_block(pem) ? BIO_new_mem_buf(pem, -1) : NULL;
	EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_pass_phrase, NULL) : NULL;
	bool done = pkey && get_public(pkey, out);

	EVP_PKEY_free(pkey);
	BIO_free(bio);
	ERR_clear_error();
	return done;
}

static bool parse_private(const char *pem, struct private_key *out)
{
	BIO *bio = has_one_block(pem) ? BIO_new_mem_buf(pem, -1) : NULL;
	EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
	bool done = pkey && get_private(pkey, out);

	EVP_PKEY_free(pkey);
	BIO_free(bio);
	ERR_clear_error();
	return done;
}

/* --- files --- */

simpler_status key_read_public(const char *path, struct public_key *out)
{
	char pem[KEY_PEM_MAX + 1];
	size_t size;
	simpler_status status = small_file_read(path, pem, sizeof(pem), &size, NULL);

	if (status == SIMPLER_OK && !key_parse_public(pem, out))
		status = error_raise(SIMPLER_EINVAL,
		                     "'%s' is not one public Ed25519 key in PEM (\"BEGIN PUBLIC "
		                     "KEY\")",
		                     path);
	return status;
}

simpler_status key_read_private(const char *path, struct private_key *out)
{
	char pem[KEY_PEM_MAX + 1];
	size_t size;
	simpler_status status = small_file_read(path, pem, sizeof(pem), &size, NULL);

	if (status == SIMPLER_OK && !parse_private(pem, out))
		status = error_raise(SIMPLER_EINVAL,
		                     "'%s' is not one private Ed25519 key in PEM (\"BEGIN PRIVATE "
		                     "KEY\") without a pass phrase",
		                     path);
	OPENSSL_cleanse(pem, sizeof(pem));
	return status;
}

/* The text of a BIO that a key was written to, into a new file. */
static simpler_status create_from(BIO *bio, const char *path, mode_t mode)
{
	char *text;
	long size = BIO_get_mem_data(bio, &text);

	return small_file_create(path, mode, text, (size_t)size);
}

simpler_status key_write_pair(const struct private_key *key, const char *private_path,
                              const char *public_path)
{
	EVP_PKEY *pkey = private_pkey(key);
	BIO *secret = BIO_new(BIO_s_secmem()), *open = BIO_new(BIO_s_mem());
	simpler_status status = SIMPLER_OK;

	if (!pkey || !secret || !open || PEM_write_bio_PUBKEY(open, pkey) != 1 ||
	    PEM_write_bio_PKCS8PrivateKey(secret, pkey, NULL, NULL, 0, NULL, NULL) != 1)
		status = raise_openssl(SIMPLER_ENOMEM, "OpenSSL has no memory for a key in PEM");
	if (status == SIMPLER_OK)
		status = create_from(secret, private_path, S_IRUSR | S_IWUSR);
	if (status == SIMPLER_OK) {
		status = create_from(open, public_path, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH);
		if (status != SIMPLER_OK)
			(void)unlink(private_path);
	}
	BIO_free(secret);
	BIO_free(open);
	EVP_PKEY_free(pkey);
	return status;
}
