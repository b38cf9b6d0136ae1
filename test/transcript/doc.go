// Package transcript plays dialogues that are written down as text, against
// anything that speaks over a net.Conn. It is for tests only.
//
// A dialogue has one step per line. The letter says who speaks, the sign
// behind it how the line is meant; one space after the sign is not part of
// the text. Lines end in CRLF on the wire and in LF in the file.
//
//	# why                 a comment; empty lines are nothing
//	C: EHLO phone         the client sends this line
//	C\ NOOP\r\nQU         the client sends these octets, escaped as in Go,
//	                      and no line end
//	C< mail.eml           the client sends this file of the archive, its LF
//	                      turned into CRLF
//	C. mail.eml           the same, dots doubled, and then the line "."
//	C--                   the client hangs up; "--" is the same
//
//	S: 250 2.1.0 ok       the server says exactly this line
//	S~ 250 .*             the server says one line that matches as a whole
//	S* A1 OK .*           any number of lines, up to and with one that matches
//	S& \* \d+ EXISTS      lines in any order: as many as there are S& in a row,
//	S& \* FLAGS .*        each of them matched once
//	S\ + \x20\r\n         exactly these octets
//	S< mail.eml           exactly the octets of this file, as C< sends them: a
//	                      literal; what follows it on its line is the next step
//	S. mail.eml           the same as C. sends it
//	S- 50ms               not one octet for that long
//	S--                   the server hangs up, saying nothing more
//
//	TLS                   both ends start TLS now
//	DEFLATE               both ends compress from now on (RFC 4978); "S-" cannot
//	                      be played behind it
//	@ bob                 from here on the connection called bob, dialled when
//	                      first named; the first connection is called "@"
//
// What a side sends it sends at once and without waiting for its peer to
// read, so two C lines in a row are pipelined, over net.Pipe too.
//
// A group of a pattern that has a name, (?P<uid>\d+), is kept; ${uid} stands
// for it in every later step. ${#mail.eml} is how many octets C< sends for
// that file. In a pattern, what ${...} stands for is taken literally. A name
// that nobody gave is an error, so "${" cannot be said except with C\ or S\.
//
// The text is the head of a txtar archive: files may follow, each behind a
// line "-- name --". They are for C< and S<, and for whoever sets up the
// server (a configuration); see Script.File.
//
// Play and Dir play the client, Serve the server; then the S steps are sent
// and the C steps expected, with the same signs.
package transcript
