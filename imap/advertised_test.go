package imap

import (
	"slices"
	"testing"

	"barid/test/transcript"
)

// proofs has a dialogue for every capability that can be advertised; Alice
// is logged in and one message is in her INBOX.
var proofs = map[string]string{
	"IMAP4rev1":  "C: z NOOP\nS: z OK Noop completed\n",
	rev2Word:     "C: z ENABLE IMAP4rev2\nS: * ENABLED IMAP4rev2\nS: z OK Enable completed\nC: y SELECT INBOX\nS* y OK .*\nC: x SEARCH ALL\nS: * ESEARCH (TAG \"x\") ALL 1\nS: x OK Search completed\n",
	"LITERAL+":   "C: z STATUS {5+}\nC: INBOX (MESSAGES)\nS: * STATUS INBOX (MESSAGES 1)\nS: z OK Status completed\n",
	"ID":         "C: z ID (\"name\" \"x\" \"version\" NIL)\nS: * ID (\"name\" \"barid\")\nS: z OK ID completed\n",
	"IDLE":       "C: z IDLE\nS: + idling\nC: DONE\nS: z OK Idle completed\n",
	"XCHATMAIL":  "C: z SELECT INBOX\nS* z OK .*\nC: y UID STORE 1 +FLAGS (\\Deleted)\nS* y OK .*\nC: x CLOSE\nS: x OK Close completed\n",
	"XDELTAPUSH": "C: z SETMETADATA INBOX (/private/devicetoken {4+}\nC: abcd)\nS: z OK Setmetadata completed\n",
	"METADATA":   "C: z GETMETADATA \"\" /shared/vendor/deltachat/maxsmtprecipients\nS~ \\* METADATA \"\" \\(.*\nS: 1000)\nS: z OK Getmetadata completed\n",
	"QUOTA":      "C: z GETQUOTAROOT INBOX\nS: * QUOTAROOT INBOX \"User quota\"\nS~ \\* QUOTA \"User quota\" \\(STORAGE .*\\)\nS: z OK Getquotaroot completed\n",
	"ENABLE":     "C: z ENABLE X\nS: * ENABLED\nS: z OK Enable completed\n",
	"NAMESPACE":  "C: z NAMESPACE\nS~ \\* NAMESPACE .*\nS: z OK Namespace completed\n",
	"CHILDREN":   "C: z LIST \"\" INBOX\nS: * LIST (\\HasNoChildren) \".\" INBOX\nS: z OK List completed\n",
	"SPECIAL-USE": "C: z CREATE Sent\nS~ z OK .*\nC: y LIST \"\" Sent\nS: * LIST (\\HasNoChildren \\Sent) \".\" Sent\n" +
		"S: y OK List completed\n",
	"UNSELECT": "C: z SELECT INBOX\nS* z OK .*\nC: y UNSELECT\nS: y OK Unselect completed\n",
	"UIDPLUS": "C: z SELECT INBOX\nS* z OK .*\nC: y UID COPY 1 INBOX\nS: * 2 EXISTS\nS~ y OK \\[COPYUID \\d+ 1 2\\] .*\n" +
		"C: x UID EXPUNGE 1\nS: x OK Expunge completed\n",
	"MOVE": "C: z CREATE Old\nS~ z OK .*\nC: y SELECT INBOX\nS* y OK .*\nC: x UID MOVE 1 Old\n" +
		"S~ \\* OK \\[COPYUID \\d+ 1 1\\] .*\nS: * 1 EXPUNGE\nS: x OK Move completed\n",
	"MULTIAPPEND": "C: z APPEND INBOX {8+}\nC: A: b\nC:\nC:  (\\Seen) {8+}\nC: A: c\nC:\nC:\nS~ z OK \\[APPENDUID \\d+ 2:3\\] .*\n",
	"ESEARCH":     "C: z SELECT INBOX\nS* z OK .*\nC: y SEARCH RETURN (COUNT) ALL\nS: * ESEARCH (TAG \"y\") COUNT 1\nS: y OK Search completed\n",
	"SEARCHRES":   "C: z SELECT INBOX\nS* z OK .*\nC: y SEARCH RETURN (SAVE) ALL\nS: y OK Search completed\nC: x FETCH $ UID\nS: * 1 FETCH (UID 1)\nS: x OK Fetch completed\n",
	"CONDSTORE": "C: z SELECT INBOX (CONDSTORE)\nS* \\* OK \\[HIGHESTMODSEQ (?P<m>\\d+)\\] .*\nS* z OK .*\n" +
		"C: y STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)\nS: * 1 FETCH (UID 1 FLAGS () MODSEQ (${m}))\nS~ y OK \\[MODIFIED 1\\] .*\n",
	"QRESYNC": "C: z ENABLE QRESYNC\nS: * ENABLED QRESYNC\nS: z OK Enable completed\nC: y SELECT INBOX (QRESYNC (1 1))\n" +
		"S* \\* 1 FETCH \\(UID 1 FLAGS \\(\\) MODSEQ \\(\\d+\\)\\)\nS* y OK .*\n",

	"QUOTA=RES-STORAGE": "C: z STATUS INBOX (DELETED DELETED-STORAGE)\nS: * STATUS INBOX (DELETED 0 DELETED-STORAGE 0)\nS: z OK Status completed\n",
	"BINARY":            "C: z SELECT INBOX\nS* z OK .*\nC: y FETCH 1 BINARY.SIZE[2]\nS: * 1 FETCH (BINARY.SIZE[2] 6)\nS: y OK Fetch completed\n",
	"SAVEDATE":          "C: z SELECT INBOX\nS* z OK .*\nC: y FETCH 1 SAVEDATE\nS~ \\* 1 FETCH \\(SAVEDATE \"\\d\\d-[A-Z][a-z][a-z]-20\\d\\d .* \\+0000\"\\)\nS: y OK Fetch completed\n",
	"OBJECTID": "C: z CAPABILITY\nS* z OK .*\nC: y SELECT INBOX\nS* \\* OK \\[MAILBOXID \\((?P<id>F[0-9a-f]{32})\\)\\] .*\nS* y OK .*\n" +
		"C: x STATUS INBOX (MAILBOXID)\nS: * STATUS INBOX (MAILBOXID (${id}))\nS: x OK Status completed\n",
	"LIST-EXTENDED": "C: z LIST (SUBSCRIBED) \"\" (INBOX x) RETURN (CHILDREN)\nS: z OK List completed\n",
	"LIST-STATUS":   "C: z LIST \"\" % RETURN (STATUS (MESSAGES))\nS: * LIST (\\HasNoChildren) \".\" INBOX\nS: * STATUS INBOX (MESSAGES 1)\nS: z OK List completed\n",
	"STATUS=SIZE":   "C: z STATUS INBOX (SIZE)\nS~ \\* STATUS INBOX \\(SIZE [1-9]\\d+\\)\nS: z OK Status completed\n",
	"APPENDLIMIT": "C: z CAPABILITY\nS~ \\* CAPABILITY .* APPENDLIMIT=31457280( .*)?\nS* z OK .*\nC: y STATUS INBOX (APPENDLIMIT)\n" +
		"S: * STATUS INBOX (APPENDLIMIT 31457280)\nS: y OK Status completed\nC: x APPEND INBOX {31457281}\nS~ x NO \\[TOOBIG\\] .*\n",

	"SASL-IR":    "@ z\nS~ \\* OK .*\nC: z AUTHENTICATE PLAIN " + saslPlain + "\nS~ z OK .*\n",
	"AUTH=PLAIN": "@ z\nS~ \\* OK .*\nC: z AUTHENTICATE PLAIN\nS: + \nC: " + saslPlain + "\nS~ z OK .*\n",

	// Tests of compress_test.go prove it.
	compressWord: "",

	// TestStartTLSComesBeforeLogin proves these.
	"STARTTLS": "", "LOGINDISABLED": "",
}

// saslPlain is Alice's name and password for SASL PLAIN.
const saslPlain = "AGFsaWNlQHJlbGF5LnRlc3QAc2VjcmV0LW9mLWFsaWNlQHJlbGF5LnRlc3Q="

func TestEveryAdvertisedWordIsTrue(t *testing.T) {
	for _, c := range capabilities() {
		proof, ok := proofs[c.word]
		if !ok {
			t.Errorf("nothing proves %s", c.word)
		}
		if proof == "" {
			continue
		}
		t.Run(c.word, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			p := alice(t, l)
			l.deliver(t, "alice@relay.test", letter)
			p.Play(t, proof)
		})
	}
}

// lines has a line for every command, given when it is allowed.
var lines = map[string]string{
	"CAPABILITY": "", "NOOP": "", "ID": " NIL", "SELECT": " INBOX", "EXAMINE": " INBOX", "CHECK": "", "NAMESPACE": "",
	"GETMETADATA": ` "" /shared/comment`, "SETMETADATA": ` INBOX (/private/devicetoken "x")`, "GETQUOTAROOT": " INBOX",
	"GETQUOTA": ` "User quota"`, "ENABLE": " X", "CREATE": " new", "DELETE": " old", "RENAME": " old older",
	"SUBSCRIBE": " old", "UNSUBSCRIBE": " old", "LIST": ` "" *`, "LSUB": ` "" *`, "STATUS": " INBOX (MESSAGES)",
	"APPEND": " INBOX {8+}\nC: A: b\nC:\nC:", "CLOSE": "", "UNSELECT": "", "EXPUNGE": "", "UID EXPUNGE": " 1:*",
	"FETCH": " 1 FLAGS", "UID FETCH": " 1 FLAGS", "STORE": " 1 +FLAGS (\\Seen)", "UID STORE": " 1 +FLAGS (\\Seen)",
	"SEARCH": " ALL", "UID SEARCH": " ALL", "COPY": " 1 old", "UID COPY": " 1 old", "MOVE": " 1 old", "UID MOVE": " 1 old",
	"LOGOUT": "", "IDLE": "\nC: DONE",
}

// wherever these are allowed, they are tested by themselves.
var elsewhere = []string{"SETQUOTA", "LOGIN", "AUTHENTICATE", "STARTTLS", "COMPRESS"}

func TestEveryCommandOfTheTableWorks(t *testing.T) {
	for name, row := range commandTable() {
		if slices.Contains(elsewhere, name) {
			continue
		}
		line, ok := lines[name]
		if !ok {
			t.Errorf("nothing drives %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if row.in&notAuthenticated == 0 {
				transcript.Play(t, l.dial(t), "S~ \\* OK .*\nC: z "+name+"\nS: z BAD Command not allowed in this state\n")
			}
			p := alice(t, l)
			l.deliver(t, "alice@relay.test", letter)
			p.Play(t, "C: b CREATE old\nS* b OK .*\n")
			if row.in&loggedIn == selected {
				p.Play(t, "C: y "+name+"\nS: y BAD Command not allowed in this state\nC: c SELECT INBOX\nS* c OK .*\n")
			}
			p.Play(t, "C: z "+name+line+"\nS* z OK .*\n")
		})
	}
}
