// Package wire speaks SMTP. It is the only package that touches go-smtp, and
// it closes what that library leaves open; the rest of barid sees Session.
//
// What it adds to the library:
//   - the raw line behind each command, so that addresses are held to the
//     grammar of RFC 5321 and not to the library's reading of it
//   - content is checked while it is read: no NUL, no bare CR or LF, no line
//     over the limit, no more octets than announced; an end of file in the
//     middle of it is never taken for its end
//   - nothing that follows a read error is executed
//   - a failed STARTTLS ends the connection, and so do octets in the clear
//     behind it
//   - bounds on commands, failed logins and refusals of one connection
//   - a fault of ours is 451 4.3.0 to the peer, its cause goes to the log
//
// The library gets the *tls.Conn itself, because it asks for that type; we
// listen through its Debug hook (see ear), which stands between the
// connection and its reader.
package wire
