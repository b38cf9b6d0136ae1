// Package cmdeploy takes a relay over from the reference system, as its tool
// cmdeploy installs it, and gives one back. It knows where that system keeps
// its things and what its files mean; it never writes to a tree that it
// copies from.
//
//	/usr/local/lib/chatmaild/chatmail.ini        its configuration (INI)
//	/home/vmail/mail/<bare domain>/              the tree, one directory per account (Tree)
//	  <address>/password                         hash; its mtime is the day of the last login
//	  <address>/metadata.json                    push tokens
//	  <address>/enforceE2EEincoming, DISABLED    flags
//	  <address>/cur new tmp .Folder              Maildir++, files perhaps compressed with gzip
//	  <address>/dovecot-uidlist, -keywords       UIDs, names of keywords
//	  <address>/dovecot.*                        indexes of Dovecot, which it makes again
//	  pending_notifications/<32 digits>          wake-ups that wait (Pending)
//	/home/vmail/passdb.sqlite                    accounts of servers before 2024 (ReadPassDB)
//	/etc/dkimkeys/opendkim.private               the DKIM key
//	/var/lib/acme/live/<domain>/                 the certificate
//	/var/spool/postfix/                          mail on its way (Spool)
//
// The way in: ReadINI, then Tree.Look at each account, Copy where the tree is
// not taken as it lies, and Adopt, which has the store read each account and
// compares what came out with what lies on disk. The way back: Export.
//
// What is lost, or is not as it should be, is a Found. An account that cannot
// be read holds up no other.
package cmdeploy
