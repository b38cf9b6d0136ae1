// Package submit takes mail from our own accounts (RFC 6409): it checks the
// login, the sender and the rate, judges the content while it arrives, and
// commits it for every recipient at once.
//
// What is wrong with a reverse-path is said at RCPT, as the reference does,
// whose clients read the verdict of a recipient. A recipient itself is never
// refused at RCPT: one refusal would fail the message for all of them.
package submit
