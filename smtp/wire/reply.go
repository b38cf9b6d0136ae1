package wire

import (
	"errors"
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"barid/smtp"
)

// Replies of the dialogue that other ways in give as well, in the same words.
var (
	BadSender      = smtp.NewReply(501, "5.1.7", "Bad sender address syntax")
	BadRecipient   = smtp.NewReply(501, "5.1.3", "Bad recipient address syntax")
	ManyRecipients = smtp.NewReply(452, "4.5.3", "Error: too many recipients")
	NoRecipients   = smtp.NewReply(554, "5.5.1", "Error: no valid recipients")
	NoAuth         = smtp.NewReply(503, "5.5.1", "Error: authentication not enabled")
)

// Replies of the dialogue itself.
var (
	replyOK            = smtp.NewReply(250, "2.0.0", "OK")
	replyVerify        = smtp.NewReply(252, "2.0.0", "Cannot VRFY user, but will accept message")
	replyNoTLS         = smtp.NewReply(530, "5.7.0", "Must issue a STARTTLS command first")
	replyLoggedIn      = smtp.NewReply(235, "2.7.0", "Authentication successful")
	replyLoggedInTwice = smtp.NewReply(503, "5.5.1", "Error: already authenticated")
	replyMechanism     = smtp.NewReply(504, "5.5.4", "Unrecognized authentication type")
	replyAuthSyntax    = smtp.NewReply(501, "5.5.2", "Bad authentication data")
	replyAuthInMail    = smtp.NewReply(503, "5.5.1", "Error: MAIL transaction in progress")
	replyTooBig        = smtp.NewReply(552, "5.3.4", "Message size exceeds fixed limit")
	replyOctets        = smtp.NewReply(554, "5.6.0", "Message contains NUL or a bare CR or LF")
	replyLongLine      = smtp.NewReply(554, "5.6.0", "Message contains a line that is too long")
	replyDrain         = smtp.NewReply(421, "4.3.2", "Shutting down, try again")
	replyEnded         = smtp.NewReply(421, "4.4.2", "Connection is ending")
	replyPanic         = smtp.NewReply(421, "4.3.0", "Local error, try again later")
	replyManyErrors    = smtp.NewReply(421, "4.7.0", "Error: too many errors")
	replyManyCommands  = smtp.NewReply(421, "4.7.0", "Error: too many commands")
	replyForeign       = smtp.NewReply(221, "2.7.0", "Error: I can break rules, too. Goodbye.")
)

// lib gives r as the library wants it: unwrapped, or it would show our words
// to the peer.
func lib(r *smtp.Reply) *gosmtp.SMTPError {
	// A Reply can be made without NewReply; its line must hold all the same.
	text := smtp.NewReply(r.Code, "", "%s", r.Text).Text
	return &gosmtp.SMTPError{Code: r.Code, EnhancedCode: enhanced(r.Enhanced), Message: text}
}

func enhanced(s string) gosmtp.EnhancedCode {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return gosmtp.NoEnhancedCode
	}
	var code gosmtp.EnhancedCode
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return gosmtp.NoEnhancedCode
		}
		code[i] = n
	}
	return code
}

// isReply tells whether err has words for the peer.
func isReply(err error) bool {
	_, ok := errors.AsType[*smtp.Reply](err)
	return ok
}
