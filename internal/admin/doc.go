// Package admin is the door for the operator: HTTP over a Unix socket in the
// data directory, which only the relay's own user (and root) can open.
//
//	data_dir/admin.sock    mode 0600
//	GET /status            Status as JSON
//	POST /VERB             question and answer as JSON (Answer), or
//	                       lines of JSON while the work goes on (Stream)
//
// The relay answers with Listen, Handle and Serve, the command line asks with
// Dial, then Client.Ask or Follow.
// The package knows no part of the relay: what a Status says is put together
// by internal/app.
package admin
