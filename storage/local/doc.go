// Package local is the default engine of storage: accounts and mail in one
// data directory, owned by one process.
//
//	data_dir/
//	  journal/                  the truth about the last minutes (internal/journal)
//	  staging/<name>            large content until it lies in a mailbox for good
//	  queue/                    mail for other servers, once it has waited for some seconds
//	    barid-queue             index: the entries, for whom they ended, marks, the next ID
//	    envelope/<id>           sender, recipients, prefix, checksum of the content
//	    content/<id>,S=<octets> often one file with those of mailboxes and other entries
//	    tmp/                    files being written
//	    aside/                  what could not be read, and was taken out of the queue by a check
//	  barid-store               the last UIDVALIDITY given out, the key of message IDs
//	  barid-accounts            what may be due for expiry, and when the clock was last right; may be lost
//	  removed-names             who had the accounts that were removed (hashes), and removed-names.key
//	  nocreate                  while it is there, no account is born
//	  removed/<address>.<n>/    accounts born anew after their password file was removed
//	  mail/<bare domain>/<address>/
//	    password                hash; its mtime is the day of the last login
//	    metadata.json           push tokens and other entries
//	    enforceE2EEincoming     empty, made with the account
//	    subscriptions           names of mailboxes, one a line
//	    cur/ new/ tmp/          INBOX, made when the first message settles
//	    barid-mailbox           snapshot of the mailbox: UIDs, flags, MODSEQs, times, IDs
//	    dovecot-uidlist         the same for Dovecot
//	    .Folder/                another mailbox, the same inside
//
// # How a write goes
//
// Commit locks the accounts it touches, in the order of their addresses,
// checks each operation against their newest state, and makes one record of
// what came out: UIDs, ModSeqs, content. The record gets its place in the
// journal while the locks are held; the flush is waited for without them.
// Only then the new states are shown, in order, and bells ring. So nothing is
// seen that a power cut could take back.
//
// The states of an account are values that never change (accountState).
// Writers work on the newest (account.next), readers see the newest durable
// one (account.now); between the two lies a list of states that wait for
// their flush.
//
// The queue takes part in that like one more account, locked after all others.
// It may be large, so it has one state that changes in place; what waits for
// the flush is only what others are told of it, and what is done to its files.
//
// # How mail reaches its file
//
// Content stays in memory for some seconds. One goroutine, the settler, then
// writes what still lives into Maildir files, without a flush of its own; it
// alone changes files of mailboxes. A checkpoint takes the state of all accounts
// at a record, waits until much of that mail is gone again, settles the rest,
// writes snapshots under new names, flushes the file system, and trims the
// journal up to that record.
// Whatever a crash takes from the files since the last checkpoint is in the
// journal, and Open replays it.
package local
