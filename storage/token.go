package storage

import "time"

// RemoveToken removes one value of the account's "/private/devicetoken", as
// the push gateway knows its device no more. A token that is not there, or
// that was set again after SetBy, is left as it is, without an error. Zero
// SetBy means whenever it was set.
type RemoveToken struct {
	Account Account
	Token   string
	SetBy   time.Time
}

func (RemoveToken) op() {}
