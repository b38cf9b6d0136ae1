package wire

import (
	"fmt"
	"strings"

	"barid/smtp"
)

// parsePath reads the path out of a whole MAIL or RCPT line, strictly: angle
// brackets are demanded and what stands in them must be a Mailbox, or empty
// where null is allowed. A source route is read and ignored, as RFC 5321
// section 4.1.1.3 wants. Parameters after it are left to the library.
//
// unquoted is the path as the library gives it, to compare.
//
// Source: RFC 5321 section 4.1.2 (Reverse-path, Forward-path).
func parsePath(line, keyword string, null bool) (path smtp.Path, unquoted string, err error) {
	bad := func(why string) (smtp.Path, string, error) {
		return smtp.Path{}, "", fmt.Errorf("%w: %s", smtp.ErrAddress, why)
	}
	if len(line) < 5 || line[4] != ' ' {
		return bad("no argument")
	}
	arg := strings.Trim(line[5:], " ")
	if !begins(arg, keyword) {
		return bad("no " + keyword)
	}
	arg = strings.TrimLeft(arg[len(keyword):], " ")
	inner, ok := strings.CutPrefix(arg, "<")
	if !ok {
		return bad("no angle bracket")
	}
	end := closing(inner)
	if end < 0 {
		return bad("no closing angle bracket")
	}
	if rest := inner[end+1:]; rest != "" && rest[0] != ' ' {
		return bad("something behind the closing angle bracket")
	}
	inner = inner[:end]
	if inner == "" && null {
		return smtp.Path{}, "", nil
	}
	if strings.HasPrefix(inner, "@") {
		route, mailbox, ok := strings.Cut(inner, ":")
		if !ok || strings.ContainsFunc(route, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return bad("unfinished source route")
		}
		inner = mailbox
	}
	a, err := smtp.ParseAddress(inner)
	if err != nil {
		return smtp.Path{}, "", err
	}
	at := strings.LastIndexByte(inner, '@')
	return smtp.Path{Address: a}, unquote(inner[:at]) + inner[at:], nil
}

// disguisedPostmaster is what the library reads instead of "Postmaster": it
// takes no path without an "@".
const disguisedPostmaster = "P@stmaster"

// barePostmaster finds where "Postmaster" begins in a RCPT line whose path is
// that word alone, in any letter case; zero when it is not.
//
// Source: RFC 5321 section 4.1.1.3, 4.5.1.
func barePostmaster(line string) int {
	const path = "<Postmaster>"
	i := strings.IndexByte(line, '<')
	if i < 0 || !begins(line, "RCPT ") || !strings.EqualFold(strings.Trim(line[5:i], " "), "TO:") || !begins(line[i:], path) {
		return 0
	}
	if after := line[i+len(path):]; after != "" && after[0] != ' ' {
		return 0
	}
	return i + 1
}

// closing finds the ">" that is in no quoted string.
func closing(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i
		}
	}
	return -1
}

// unquote undoes the quotes of a local-part that ParseAddress took.
func unquote(local string) string {
	if local[0] != '"' {
		return local
	}
	var b strings.Builder
	for i := 1; i < len(local)-1; i++ {
		if local[i] == '\\' {
			i++
		}
		b.WriteByte(local[i])
	}
	return b.String()
}
