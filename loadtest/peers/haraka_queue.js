// Haraka as the comparison runs it: takes everything, and keeps nothing or writes a Maildir with fsync.
// The Maildir's folder is in the environment as GSMTP_MAILDIR, empty to keep nothing.
'use strict';
const fs = require('node:fs');
const path = require('node:path');

const maildir = process.env.GSMTP_MAILDIR || '';
let serial = 0;

exports.hook_mail = (next) => next(OK);
exports.hook_rcpt = (next) => next(OK);

exports.hook_queue = function (next, connection) {
    if (!maildir) return next(OK);
    const name = `${process.pid}.${++serial}`;
    const temporary = path.join(maildir, 'tmp', name);
    const failed = () => next(DENYSOFT);
    fs.open(temporary, 'wx', 0o640, (opening, fd) => {
        if (opening) return failed();
        const file = fs.createWriteStream(null, { fd, autoClose: false });
        file.on('error', failed);
        file.on('finish', () => {
            fs.fsync(fd, (syncing) => {
                fs.close(fd, () => {
                    if (syncing) return failed();
                    fs.rename(temporary, path.join(maildir, 'new', name), (renaming) => {
                        if (renaming) return failed();
                        fs.open(path.join(maildir, 'new'), 'r', (opening2, folder) => {
                            if (opening2) return failed();
                            fs.fsync(folder, (error) => fs.close(folder, () => (error ? failed() : next(OK))));
                        });
                    });
                });
            });
        });
        connection.transaction.message_stream.pipe(file);
    });
};
