// Package imap serves IMAP4rev1, and IMAP4rev2 to who enables it, to the
// accounts of a storage.Store.
//
// A session is one struct and, while its client idles, one goroutine with a
// small stack and no buffer: it waits below TLS for the socket to become
// readable. As long as the client gives commands a second goroutine takes
// and answers them; its stack goes with it when IDLE begins. A mailbox that
// changes rings its sessions; one that idles is told by a short goroutine of
// its own. Keep-alives and deadlines of all sessions share one timer each.
//
// What the clients of this world depend on, and lose mail or stall without,
// is tested rule by rule in rules_test.go.
package imap
