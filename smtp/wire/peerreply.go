package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"barid/smtp"
)

// Bounds on the replies of a peer. RFC 5321 section 4.5.3.1.5 allows lines of
// 512 octets; some write more.
const (
	maxReplyLine  = 4096
	maxReplyLines = 128
	maxReplyText  = 900 // octets that are kept of all its lines
)

// errReply is inside every error about a reply that is none.
var errReply = errors.New("not an SMTP reply")

// readReply reads one reply, all its lines (RFC 5321 section 4.2.1). Its text
// is that of the lines with a space between; lines has each for EHLO.
func readReply(r *bufio.Reader) (reply *smtp.Reply, lines []string, err error) {
	var text strings.Builder
	for n := 0; ; n++ {
		if n == maxReplyLines {
			return nil, nil, fmt.Errorf("%w: more than %d lines", errReply, maxReplyLines)
		}
		line, err := replyLine(r)
		if err != nil {
			return nil, nil, err
		}
		code, rest, more, err := splitReply(line)
		if err != nil {
			return nil, nil, err
		}
		if reply == nil {
			reply = &smtp.Reply{Code: code}
			reply.Enhanced, rest = splitEnhanced(code, rest)
		} else if code != reply.Code {
			return nil, nil, fmt.Errorf("%w: lines of %d and %d", errReply, reply.Code, code)
		} else if _, same := splitEnhanced(code, rest); reply.Enhanced != "" {
			rest = same
		}
		lines = append(lines, rest)
		if text.Len()+len(rest) < maxReplyText {
			if text.Len() > 0 {
				text.WriteByte(' ')
			}
			text.WriteString(rest)
		}
		if !more {
			// NewReply makes what a peer wrote fit for one line of ours.
			return smtp.NewReply(reply.Code, reply.Enhanced, "%s", text.String()), lines, nil
		}
	}
}

// replyLine reads a line without its end, which may be a bare LF.
func replyLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("%w: a line of more than %d octets", errReply, r.Size())
	case err != nil:
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// splitReply takes a line apart.
func splitReply(line string) (code int, rest string, more bool, err error) {
	bad := fmt.Errorf("%w: it begins with %q", errReply, line[:min(len(line), 16)])
	if len(line) < 3 {
		return 0, "", false, bad
	}
	for i, low := range []byte{'2', '0', '0'} {
		high := byte('9')
		if i == 0 {
			high = '5'
		}
		if line[i] < low || line[i] > high {
			return 0, "", false, bad
		}
		code = code*10 + int(line[i]-'0')
	}
	switch {
	case len(line) == 3:
		return code, "", false, nil
	case line[3] == ' ':
		return code, line[4:], false, nil
	case line[3] == '-':
		return code, line[4:], true, nil
	}
	return 0, "", false, bad
}

// splitEnhanced takes an enhanced status code of the reply's class off the
// text (RFC 2034).
func splitEnhanced(code int, text string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != string(rune('0'+code/100)) {
		return "", text
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return "", text
		}
	}
	return word, rest
}

// ParseReply reads a reply that came by another way than SMTP, all its lines;
// nil when it is none.
func ParseReply(text []byte) *smtp.Reply {
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text[:len(text):len(text)], '\n')
	}
	reply, _, err := readReply(bufio.NewReaderSize(bytes.NewReader(text), maxReplyLine))
	if err != nil {
		return nil
	}
	return reply
}
