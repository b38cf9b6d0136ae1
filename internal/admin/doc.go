// Package admin is the door for the operator: HTTP over a Unix socket in the
// data directory, which only the relay's own user (and root) can open.
//
//	data_dir/admin.sock    mode 0600
//	GET /status            Status as JSON
//
// The relay answers with Listen and Serve, the command line asks with Dial.
// The package knows no part of the relay: what a Status says is put together
// by internal/app.
package admin
