// Package interop lets programs that others wrote, and that people use, work
// with a relay: mutt reads and sorts mail over IMAP, mbsync (isync) keeps a
// Maildir and the mailboxes of an account alike; Postfix with OpenDKIM delivers
// signed mail, and is delivered to; iroh clients of both
// generations reach each other through the iroh relay alone.
//
// The programs come from Debian packages, the iroh clients (package.json in
// iroh) from npm; "make interop" installs them. Its
// tests are skipped without BARID_INTEROP in the environment.
package interop
