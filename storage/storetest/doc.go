// Package storetest has what every engine of storage must do, as tests.
package storetest

import (
	"testing"

	"barid/storage"
)

// Domain is the domain of all addresses in the suite.
const Domain = "relay.test"

// The rules that the engine under test must have.
const (
	UsernameMin = 3
	UsernameMax = 10
	PasswordMin = 9
	Quota       = 100_000
	QueueMax    = 100
)

// Engine is a store under test and what the suite needs to do to it.
type Engine struct {
	storage.Store
	// Reopen closes the store and opens the same data again. The suite uses
	// what it returns from then on, and closes that.
	Reopen func(t *testing.T) Engine
}

// Run runs the suite. open gives a new, empty store each time, with the
// domain and rules of this package; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) Engine) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := &env{t: t, Engine: open(t)}
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test.run(e)
		})
	}
}

type test struct {
	name string
	run  func(*env)
}

var tests = []test{
	{"a first login bears the account, a second finds it", firstLogin},
	{"names and passwords outside the rules are refused", rules},
	{"letter case and tag lead to the same account", spellings},
	{"ten first logins with one password all succeed", togetherOne},
	{"of first logins with different passwords one wins", togetherMany},
	{"names never lead out of the store", escapes},
	{"a changed password counts at once", changedPassword},
	{"what is not there is not found", notFound},

	{"one content goes to three accounts", threeAccounts},
	{"a recipient fails alone", failsAlone},
	{"all or none", allOrNone},
	{"quota counts and refuses", quota},
	{"many tiny messages are refused", manyTiny},
	{"content of every size comes back", contents},
	{"a draft serves as content and is bounded", drafts},
	{"the header ends with the empty line", headers},
	{"reading passes over what is expunged", readMissing},

	{"UIDs rise and are never reused", uidsRise},
	{"an account born again has a higher UIDVALIDITY", bornAgain},
	{"a mailbox born again has a higher UIDVALIDITY", mailboxBornAgain},
	{"append keeps flags and date", appendKeeps},
	{"flags are set, added and removed", flagModes},
	{"UnchangedSince skips what changed meanwhile", unchangedSince},
	{"expunge removes what is marked", expunge},
	{"copies keep flags and date", copies},
	{"a move is a copy and an expunge", moves},
	{"a copy lives longer than its source", copyOutlives},
	{"a message and its copies have one ID, and no other has it", identities},
	{"a message tells when it was saved", saved},
	{"an operation meant for an earlier mailbox of that name does nothing", earlierLife},

	{"mailboxes are made with the levels above", createMailboxes},
	{"mailbox names that cannot be are refused", badMailboxes},
	{"a deleted mailbox is gone for who reads it", deleteMailbox},
	{"a rename takes what lies below along", renameMailbox},
	{"renaming INBOX empties it", renameInbox},
	{"subscriptions are to names", subscriptions},
	{"a mailbox keeps its ID, and no other has it", mailboxIDs},
	{"device tokens add up", tokens},
	{"a device token that is gone goes alone", removeToken},
	{"what is no device token is refused", badTokens},
	{"entries belong to a mailbox", entries},
	{"everything is there after opening anew", reopened},

	{"since tells what changed", since},
	{"a view never changes", viewStays},
	{"bells ring before commit returns", bells},
	{"a cancelled bell does not ring", cancelledBells},
	{"concurrent commits leave no gap", noGaps},
	{"a deleted account is gone", deleteAccount},
	{"old mail expires, and a dry run tells it before", expireMail},
	{"unused accounts expire, those in use stay", expireAccounts},
	{"without ages nothing expires", expireNothing},
	{"accounts are listed by name", listAccounts},
	{"a frozen account neither gets mail nor sends it", freeze},
	{"a frozen account is frozen after opening anew", frozenStays},
	{"where registration is closed nobody is born", registration},

	{"what leaves is queued with what stays", queueTogether},
	{"a queued message ends for each recipient", queueEnds},
	{"a queued message ends as a batch says or not at all", queueTogetherNot},
	{"marks of queued messages stay", queueMarks},
	{"the queue takes only so much, and of one sender a tenth", queueBounds},
	{"queued content of every size comes back", queueContents},
	{"what is queued leaves when its sender is gone", queueOutlivesSender},
	{"who watches the queue is told of everything once, in order", queueWatch},

	{"a closed store says so", closed},
}
