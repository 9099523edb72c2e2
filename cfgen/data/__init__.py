"""Images, their labels and their patients: files, DICOM, tables, archives and the phantom."""
