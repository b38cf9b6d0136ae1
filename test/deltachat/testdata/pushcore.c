// pushcore serves the JSON-RPC of a Delta Chat core on standard input and
// output, as deltachat-rpc-server does, and takes one line more: "push-token
// TOKEN" is the call that gives the core its device token, which JSON-RPC does
// not have. The core is the library inside the Node.js module that $CORE_LIBRARY
// names; what that wants of Node.js is never called but once, and stands here.
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct accounts accounts;
typedef struct rpc rpc;

static accounts *(*accounts_new)(const char *dir, int writable);
static void (*set_token)(accounts *, const char *token);
static rpc *(*rpc_init)(accounts *);
static void (*rpc_request)(rpc *, const char *request);
static char *(*rpc_next)(rpc *);
static void (*str_unref)(char *);

void napi_module_register(void *module) { (void)module; }

static void *answer(void *r) {
	for (char *line; (line = rpc_next(r)) != NULL; str_unref(line)) {
		puts(line);
		fflush(stdout);
	}
	return NULL;
}

static void *find(void *library, const char *name) {
	void *f = dlsym(library, name);
	if (f == NULL) {
		fprintf(stderr, "pushcore: %s\n", dlerror());
		exit(1);
	}
	return f;
}

int main(void) {
	void *library = dlopen(getenv("CORE_LIBRARY"), RTLD_LAZY);
	if (library == NULL) {
		fprintf(stderr, "pushcore: %s\n", dlerror());
		return 1;
	}
	accounts_new = find(library, "dc_accounts_new");
	set_token = find(library, "dc_accounts_set_push_device_token");
	rpc_init = find(library, "dc_jsonrpc_init");
	rpc_request = find(library, "dc_jsonrpc_request");
	rpc_next = find(library, "dc_jsonrpc_next_response");
	str_unref = find(library, "dc_str_unref");
	accounts *all = accounts_new(getenv("DC_ACCOUNTS_PATH"), 1);
	if (all == NULL) {
		fprintf(stderr, "pushcore: no accounts\n");
		return 1;
	}
	rpc *r = rpc_init(all);
	pthread_t t;
	pthread_create(&t, NULL, answer, r);
	const char word[] = "push-token ";
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	while ((n = getline(&line, &room, stdin)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = 0;
		if (strncmp(line, word, sizeof word - 1) == 0)
			set_token(all, line + sizeof word - 1);
		else
			rpc_request(r, line);
	}
	fflush(stdout);
	_exit(0);
}
