// Package receive takes mail for our accounts from other servers: over SMTP
// on port 25, and over HTTPS at /mxdeliv, the way in for networks that close
// port 25. Both end in the same transaction.
//
// Every well-formed recipient of our domain is taken at RCPT, whether there is
// such an account or not. What is wrong is said after the content, in this
// order:
//
//	500          it has no author, or several; 554 5.4.6 it goes in circles
//	523          it is in the clear and nobody it is for takes that
//	554, 451     the author's domain did not sign it, or the DNS cannot tell
//	550, 552     nobody it is for can get it
//
// When some can get it they do, and the reverse-path gets a delivery status
// notification about the others, if it is the author's and that is proven.
// Whether an account exists is thus told only to who signs.
//
// A message that is refused leaves nothing behind.
package receive
