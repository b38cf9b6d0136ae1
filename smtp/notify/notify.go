// Package notify writes delivery status notifications: what tells the
// reverse-path of a message that some of its recipients did not get it.
package notify

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"barid/smtp"
)

// MaxHeader bounds how much of the message's header is given back, in octets.
const MaxHeader = 50000

// Failure is one recipient that does not get the message, and the reply that
// says why.
type Failure struct {
	Recipient smtp.Address
	Reply     *smtp.Reply
}

// Report is a notification about one message. It is sent with the null
// reverse-path, so that nothing ever answers it.
type Report struct {
	Domain   string       // ours: who reports
	To       smtp.Address // the reverse-path of the message
	Failures []Failure    // at least one
	// Header is the header block of the message, CRLF lines, without the empty
	// line. Its content is not given back: it is encrypted to somebody else.
	Header []byte
	Now    time.Time
	// Delayed says that the message is still being tried, until Until. Clients
	// ignore such reports; people do not.
	Delayed bool
	Until   time.Time
}

// Content writes the report as a message: multipart/report with a text for
// people, a message/delivery-status and the header of the message.
//
// Clients know it by the local-part of its From and by its third part, which
// has the Message-ID.
//
// Source: RFC 3461 section 6, RFC 3464, RFC 6522.
func (r Report) Content() []byte {
	boundary := "=_" + rand.Text()
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }

	line("From: Mail Delivery System <MAILER-DAEMON@%s>", r.Domain)
	line("To: <%s>", r.To.Wire())
	if r.Delayed {
		line("Subject: Delayed Mail (still being retried)")
	} else {
		line("Subject: Undelivered Mail Returned to Sender")
	}
	line("Date: %s", r.Now.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	line("Message-ID: <%s@%s>", strings.ToLower(rand.Text()), strings.Trim(r.Domain, "[]"))
	line("Auto-Submitted: auto-replied")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; report-type=delivery-status;")
	line("\tboundary=\"%s\"", boundary)
	line("")

	line("--%s", boundary)
	line("Content-Type: text/plain; charset=us-ascii")
	line("")
	line("This is the mail system of %s.", r.Domain)
	line("")
	if r.Delayed {
		line("Your message could not be delivered yet. You need not do anything:")
		line("it is tried again until %s.", r.Until.UTC().Format("Mon, 02 Jan 2006 15:04 UTC"))
	} else {
		line("Your message was not delivered to:")
	}
	line("")
	for _, f := range r.Failures {
		line("<%s>: %s", f.Recipient.Wire(), f.Reply.Wire())
	}
	line("")

	line("--%s", boundary)
	line("Content-Type: message/delivery-status")
	line("")
	line("Reporting-MTA: dns; %s", strings.Trim(r.Domain, "[]"))
	for _, f := range r.Failures {
		line("")
		line("Final-Recipient: rfc822; %s", f.Recipient.Wire())
		if r.Delayed {
			line("Action: delayed")
			line("Will-Retry-Until: %s", r.Until.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
		} else {
			line("Action: failed")
		}
		line("Status: %s", r.status(f.Reply))
		line("Diagnostic-Code: smtp; %s", f.Reply.Wire())
	}
	line("")

	line("--%s", boundary)
	line("Content-Type: text/rfc822-headers")
	line("")
	b.Write(r.head())
	line("")
	line("--%s--", boundary)
	return b.Bytes()
}

// head gives the header that is returned, cut at a line when it is long.
func (r Report) head() []byte {
	h := r.Header
	if len(h) > MaxHeader {
		h = h[:bytes.LastIndex(h[:MaxHeader], []byte("\r\n"))+2]
	}
	return h
}

// status is the enhanced code of a reply, or the general one of its class
// (RFC 3463 section 3.1). A recipient that is given up has failed, whatever
// class the last reply was of.
func (r Report) status(reply *smtp.Reply) string {
	enhanced := reply.Enhanced
	if enhanced == "" {
		enhanced = fmt.Sprintf("%d.0.0", reply.Code/100)
	}
	class := "5"
	if r.Delayed {
		class = "4"
	}
	return class + enhanced[1:]
}
