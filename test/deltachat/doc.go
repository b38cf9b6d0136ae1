// Package deltachat drives the real Delta Chat core, so that a relay is
// judged by the client it is for.
//
// The core is the program deltachat-rpc-server of the npm package
// @deltachat/stdio-rpc-server. It speaks JSON-RPC 2.0, one object a line, on
// its standard input and output. A Core is one such process with a directory
// of its own; an Account is one profile in it. Exchange is the scenario that
// every relay must pass.
//
// The tests of every day drive one version. Those of "make interop" drive those
// too that people still use, and the newest; package.json names them all.
//
// The program is found in node_modules beside this file, which "make test"
// fills, or where BARID_CORE says. Without it tests are skipped, unless
// BARID_NEED_CORE is set. BARID_CORE_LOG names a directory that gets the log
// of each Core.
package deltachat
