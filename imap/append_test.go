package imap

import (
	"fmt"
	"strings"
	"testing"

	"barid/storage"
	letters "barid/test/letter"
	"barid/test/transcript"
)

// strict is a lab whose APPEND judges, as relays do.
func strict(t *testing.T) *lab {
	l := newLab(t)
	l.sv.judge = byRule
	return l
}

// appendLine is APPEND of a message, in a dialogue whose archive has it.
func appendLine(tag, file, answer string) string {
	return fmt.Sprintf("C: %s APPEND INBOX (\\Seen) {${#%s}}\nS: + OK\nC< %s\nC:\nS~ %s %s\n", tag, file, file, tag, answer)
}

func file(name string, content []byte) string {
	return "-- " + name + " --\n" + strings.ReplaceAll(string(content), "\r\n", "\n")
}

// What cannot be sent cannot be saved either: mail in the clear would lie on
// the relay for good.
func TestAppendTakesOnlyWhatMayBeSent(t *testing.T) {
	l := strict(t)
	_, encrypted := letters.New("a", "alice@relay.test", letters.Size).Next()
	words := `NO \[CANNOT\] Encryption Needed: Invalid Unencrypted Mail`
	alice(t, l).Play(t, appendLine("b", "encrypted", `OK \[APPENDUID \d+ 1\] .*`)+
		appendLine("c", "clear", words)+
		appendLine("d", "handshake", `OK .*`)+
		appendLine("e", "transfer", `OK .*`)+
		appendLine("f", "to-another", words)+`
C: g STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 3)
S* g OK .*
`+file("encrypted", encrypted)+`-- clear --
From: <alice@relay.test>
Subject: in the clear

hello
-- handshake --
From: <alice@relay.test>
Secure-Join: vc-request
Content-Type: text/plain; charset=utf-8

secure-join: vc-request
-- transfer --
From: <alice@relay.test>
To: <alice@relay.test>
Subject: Autocrypt Setup Message
Autocrypt-Setup-Message: v1
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain

x
--b--
-- to-another --
From: <bob@relay.test>
To: <bob@relay.test>
Subject: Autocrypt Setup Message
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain

x
--b--
`)
}

// The messages of one APPEND are saved together or not at all, and one that
// is refused does not make commands of those behind it.
func TestMessagesAreAppendedTogetherOrNotAtAll(t *testing.T) {
	l := strict(t)
	_, encrypted := letters.New("a", "alice@relay.test", letters.Size).Next()
	alice(t, l).Play(t, `
C: b APPEND INBOX {${#one}+}
C< one
C:  (\Seen) "01-Feb-2026 10:20:30 +0000" {${#one}}
S: + OK
C< one
C:
S~ b OK \[APPENDUID \d+ 1:2\] Append completed
C: c APPEND INBOX {${#one}+}
C< one
C:  {${#clear}+}
C< clear
C:  {${#one}+}
C< one
C:
S~ c NO \[CANNOT\] Encryption Needed: .*
C: d APPEND INBOX ~{${#one}+}
C< one
C:
S~ d OK .*
C: e APPEND INBOX ~{4+}
C\ \x00\r\n\n\r\n
S~ e NO \[UNKNOWN-CTE\] .*
C: f SELECT INBOX
S* \* 3 EXISTS
S* f OK .*
C: g FETCH 1:2 (FLAGS)
S: * 1 FETCH (FLAGS ())
S: * 2 FETCH (FLAGS (\Seen))
S: g OK Fetch completed
`+file("one", encrypted)+`-- clear --
A: LOGOUT

z LOGOUT
`)
}

// Many messages of one APPEND cost no more than two big ones.
func TestAppendsAreBoundedTogether(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxMessageSize = 10 })
	p := alice(t, l)
	p.Play(t, `
C: b APPEND INBOX {11}
S~ b NO \[TOOBIG\] .*
C: c APPEND INBOX {9+}
C\ A: b\r\n\r\nx {9+}\r\nA: c\r\n\r\ny {9}\r\n
S~ c NO \[TOOBIG\] .*
C: d STATUS INBOX (MESSAGES)
S: * STATUS INBOX (MESSAGES 0)
S* d OK .*
`)
	l = newLab(t, func(c *Config) { c.MaxMessageSize = 1 << 20 })
	l.born(t, "alice@relay.test")
	p = transcript.New(t, l.dial(t))
	p.Play(t, login+"C\\ b APPEND INBOX"+strings.Repeat(` {1+}\r\nx`, maxAppended)+` {1}\r\n`+"\nS~ b BAD .*\n")
}

// A disk without room is no fault of the relay's for each who meets it: the log
// has it once, from the store.
func TestAppendsToAFullDiskAreRefusedForNow(t *testing.T) {
	l := newLab(t)
	p := alice(t, l)
	l.store.mu.Lock()
	l.store.fail = fmt.Errorf("disk: %w", storage.ErrFull)
	l.store.mu.Unlock()
	p.Play(t, `
C: b APPEND INBOX {10+}
C\ A: b\r\n\r\nxx\r\n
S: b NO [UNAVAILABLE] There is no room, please try again later
`)
}

func TestAppendsCountAgainstTheQuota(t *testing.T) {
	l := newLab(t)
	p := alice(t, l)
	l.store.mu.Lock()
	l.store.accounts["alice@relay.test"].max = 9
	l.store.mu.Unlock()
	p.Play(t, `
C: b APPEND INBOX {10+}
C\ A: b\r\n\r\nxx\r\n
S: b NO [OVERQUOTA] Quota exceeded (mailbox for user is full)
`)
}
