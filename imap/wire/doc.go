// Package wire is the grammar of IMAP4rev1 and IMAP4rev2 (RFC 3501, RFC 9051,
// and the extensions barid speaks): octets in, values out, and back.
// It has no policy and no storage.
//
// A Reader cuts the stream of a client into commands. A Command is a cursor:
// tag and name are known before any argument is looked at, so that whether
// the command may be given at all is decided first. Arguments are then taken
// one by one; the first fault sticks, and End tells it. A Writer collects
// what goes back and writes it in pieces of 16 KiB.
//
// Everything is bounded before it is parsed: the length of a line, of a
// literal and of a whole command, the number of tokens, the nesting of
// parentheses. Number sets stay sets; nothing a client sends is expanded.
package wire
