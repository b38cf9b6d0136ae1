package intake

import (
	"errors"
	"fmt"

	"barid/smtp"
	"barid/storage"
)

// NeedEncryption refuses content in the clear; the behaviour specification
// fixes code and words, which clients look for.
var NeedEncryption = smtp.NewReply(523, "", "Encryption Needed: Invalid Unencrypted Mail")

var replyFull = smtp.NewReply(452, "4.3.1", "Insufficient system storage")

// StoreReply gives what a peer reads when the store fails: words for a full
// one, else an error for the log.
func StoreReply(what string, err error) error {
	if errors.Is(err, storage.ErrFull) {
		return replyFull
	}
	return fmt.Errorf("%s: %w", what, err)
}

// NoAccount is the reply for a recipient that is no account.
func NoAccount(to smtp.Address) *smtp.Reply {
	return smtp.NewReply(550, "5.1.1", "<%s> User doesn't exist: %s", to.Wire(), to.Wire())
}
