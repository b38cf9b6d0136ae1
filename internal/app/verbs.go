package app

// answerVerbs lets the admin socket answer what the command line asks beside
// the status: one line per verb, its handler in a file of its own.
func (a *App) answerVerbs() {
	a.handleAccounts()
	a.handleRegistration()
	a.handleExpire()
	a.handleStore()
	a.handleInvites()
	a.handlePush()
	a.handleTURN()
	a.handleDKIM()
	a.handleQueue()
}
