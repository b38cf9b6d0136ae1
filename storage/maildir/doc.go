// Package maildir has the format of Maildir files and names, and nothing of
// what they mean. It is the only package that touches them.
//
//	<account>/
//	  cur/1775324677.Q4711N0.barid,S=3235,U=12:2,S
//	  new/                              written by others; we read it
//	  tmp/                              files that have no name yet
//	  dovecot-uidlist                   UIDs of the files in cur and new
//	  subscriptions                     mailbox names, one a line
//	  .Archive.2026/                    mailbox "Archive.2026" (Maildir++)
//	    cur/ new/ tmp/ dovecot-uidlist
//
// A name is its base, which is never used again, then keys (S= octets of the
// content, U= UID, others are kept), then flags: D draft, F flagged, R
// answered, S seen, T deleted, a to z keywords. Files may be compressed with
// gzip, which their first octets tell; S= is the size when inflated.
//
// Nothing here flushes. Who writes a file makes it durable by journal.FS.
package maildir
